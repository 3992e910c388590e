//! What a look at the files must find before anything is changed.

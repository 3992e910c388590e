//! The store against a model that is a few collections.

//! What is refused for want of room, and how it goes on.

//! The frames both ends speak.

//! From a URL and the project's connections to an open [`crate::Storage`].

//! Files below a directory that is not trusted.

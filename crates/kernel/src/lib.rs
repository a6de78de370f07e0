//! Speaks to Linux.

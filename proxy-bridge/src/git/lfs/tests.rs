//! Contents over real sockets and from folders.

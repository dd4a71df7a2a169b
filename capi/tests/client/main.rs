//! The C functions, called as a C program calls them: sessions, and wrong use.

mod misuse;
mod session;
mod support;

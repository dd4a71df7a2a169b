//! What every driver does, over a service in memory. The test `driver` runs these scripts with the
//! one that blocks, and `async_driver` with the async one.

mod exchanges;
mod losses;
mod restore;

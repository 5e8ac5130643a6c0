//! The built gateway against real and scripted primaries. One program, so that the tests run in parallel.

mod authentication;
mod command_line;
mod faults;
mod protocol;
mod records;
mod rooms;
mod stage;
mod storm;
mod trouble;

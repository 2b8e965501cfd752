//! The very binary, shot: at random moments with SIGKILL, and at every named crash point on every kind of target. Nothing is lost, nothing
//! lands twice, nothing is left behind.

mod landing;
mod points;
mod shots;

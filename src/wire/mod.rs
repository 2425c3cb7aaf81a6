//! The frames both ends speak: the controller and the agent, over one channel.

mod message;

pub use message::{Become, BecomeMethod, Hello, OnFailure, Reply, TaskRequest};

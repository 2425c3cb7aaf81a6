//! The frames both ends speak: the controller and the agent, over one channel.

mod blocking;
mod frame;
mod message;
#[cfg(test)]
mod tests;

pub use blocking::{FrameReader, write_frame};
pub use frame::{
    Assembler, CHUNK, Frame, HEADER, Header, Kind, MAGIC, MAX_BODY, MAX_MESSAGE, PROTOCOL, RELAY_WINDOW, WINDOW,
    WireError,
};
pub use message::{
    Become, BecomeMethod, BlobWant, Detach, End, Hello, Leftover, OnFailure, Progress, RelayOpen, Reply, Start,
    TaskRequest, UploadOpen, WAITING_FOR_ANOTHER_RUN,
};

//! One frame: a kind, the id of what it belongs to, and a body of at most 1 MiB.

/// Version of the frames and messages; both ends must agree.
pub const PROTOCOL: u32 = 2;

/// What an agent says before its first frame. Whatever a login shell or sudo printed before it is discarded.
pub const MAGIC: &[u8] = b"\x00deploy agent speaks\x00\r\n";

/// Bytes of a frame before its body.
pub const HEADER: usize = 9;

/// Longest body of one frame.
pub const MAX_BODY: usize = 1024 * 1024;

/// Longest message, made of several frames.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Bytes of one stream that may be under way before the receiver has said that it took some.
pub const WINDOW: usize = 4 * 1024 * 1024;

/// The window of a relayed connection: many may be open, and they carry handshakes, not files.
pub const RELAY_WINDOW: usize = 512 * 1024;

/// Bytes of stream data in one frame: small enough that answers of other requests are not held up.
pub const CHUNK: usize = 64 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// agent → controller, JSON [`super::Hello`].
    Hello = 1,
    /// controller → agent, JSON [`super::Start`]: who is calling, for the lock.
    Start = 2,
    /// controller → agent, JSON [`super::TaskRequest`].
    Task = 3,
    /// agent → controller, JSON [`super::Reply`], the last frame of its request.
    Reply = 4,
    /// agent → controller, JSON [`super::Progress`].
    Progress = 5,
    /// agent → controller, JSON [`super::BlobWant`]: send these contents.
    BlobWant = 6,
    /// controller → agent: a piece of the contents.
    Blob = 7,
    /// JSON [`super::End`]; from the controller: that was all, or why it is not; from the agent: send no more.
    BlobEnd = 8,
    /// Four bytes, big endian: this many bytes of the stream were taken.
    Credit = 9,
    /// agent → controller, JSON [`super::UploadOpen`]: contents of this name follow.
    UploadOpen = 10,
    /// agent → controller: a piece of them.
    Upload = 11,
    /// JSON [`super::End`]; from the agent: that was all, or why it is not; from the controller: it cannot be stored.
    UploadEnd = 12,
    /// controller → agent, JSON [`super::RelayOpen`]: connect and pass bytes on.
    RelayOpen = 13,
    /// agent → controller, JSON [`super::End`]: connected, or why not.
    RelayOpened = 14,
    /// Bytes of a relayed connection.
    RelayData = 15,
    /// This side of a relayed connection sends no more.
    RelayEnd = 16,
    /// The relayed connection is over in both directions.
    RelayClose = 17,
    /// hub → child: write down the overlay; answered by the same kind with JSON [`crate::machine::Overlay`].
    OverlayDump = 18,
    /// hub → child, JSON overlay: take it over; answered by an empty one.
    OverlayLoad = 19,
    /// controller → agent: everything was answered and received, exit.
    Shutdown = 20,
    /// controller → agent: still here. An agent that hears nothing for a while takes the controller for dead.
    Alive = 21,
    /// A piece of a message that is longer than one frame; a frame of the message's own kind ends it.
    Part = 22,
    /// controller → agent, hub → child: let other runs in until the next task, once what was sent before is done.
    GiveWay = 23,
}

impl Kind {
    /// The kind of this number.
    pub fn from_number(number: u8) -> Option<Kind> {
        use Kind::*;
        const ALL: [Kind; 23] = [
            Hello,
            Start,
            Task,
            Reply,
            Progress,
            BlobWant,
            Blob,
            BlobEnd,
            Credit,
            UploadOpen,
            Upload,
            UploadEnd,
            RelayOpen,
            RelayOpened,
            RelayData,
            RelayEnd,
            RelayClose,
            OverlayDump,
            OverlayLoad,
            Shutdown,
            Alive,
            Part,
            GiveWay,
        ];
        ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// Something is wrong with the bytes, or with what carries them.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other end speaks of a kind that we do not know.
    #[error(
        "a frame of the unknown kind {0} arrived: the other end speaks another protocol, or the channel is disturbed"
    )]
    UnknownKind(u8),
    /// A frame says that it is longer than frames may be.
    #[error("a frame of {0} bytes was announced, {MAX_BODY} are allowed: the channel is disturbed")]
    FrameTooLong(usize),
    /// The frames of one message add up to too much.
    #[error("a message of more than {MAX_MESSAGE} bytes arrived")]
    MessageTooLong,
    /// The channel ended inside a frame.
    #[error("the channel ended in the middle of a frame")]
    Truncated,
    /// A body is not what its kind says.
    #[error("a frame of kind {kind:?} has a body that cannot be read: {why}")]
    Body {
        /// Of which kind.
        kind: Kind,
        /// What the parser said; never the body itself.
        why: String,
    },
    /// A frame that has no place here.
    #[error("a frame of kind {0:?} arrived where it has no place")]
    Unexpected(Kind),
    /// The channel failed.
    #[error("the channel failed: {0}")]
    Io(#[from] std::io::Error),
}

/// The first bytes of a frame, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// What it belongs to.
    pub id: u32,
    /// Length of the body, at most [`MAX_BODY`].
    pub length: usize,
}

impl Header {
    /// The bytes that say so.
    pub fn encode(&self) -> [u8; HEADER] {
        let [a, b, c, d] = (self.length as u32).to_be_bytes();
        let [e, f, g, h] = self.id.to_be_bytes();
        [a, b, c, d, self.kind as u8, e, f, g, h]
    }

    /// Reads and checks them.
    pub fn decode([a, b, c, d, kind, e, f, g, h]: [u8; HEADER]) -> Result<Header, WireError> {
        let kind = Kind::from_number(kind).ok_or(WireError::UnknownKind(kind))?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_BODY {
            return Err(WireError::FrameTooLong(length));
        }
        Ok(Header { kind, id: u32::from_be_bytes([e, f, g, h]), length })
    }
}

/// A frame or, after [`Assembler`], a whole message.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// What it belongs to: the request, stream or relay.
    pub id: u32,
    /// Its contents.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    // Bodies carry passwords and keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}#{}({} bytes)", self.kind, self.id, self.body.len())
    }
}

impl Frame {
    /// A frame of bytes.
    pub fn new(kind: Kind, id: u32, body: Vec<u8>) -> Self {
        Frame { kind, id, body }
    }

    /// A frame of JSON.
    pub fn json<T: serde::Serialize>(kind: Kind, id: u32, message: &T) -> Result<Self, WireError> {
        let body = serde_json::to_vec(message).map_err(|e| WireError::Body { kind, why: e.to_string() })?;
        Ok(Frame { kind, id, body })
    }

    /// A frame that says how many bytes were taken.
    pub fn credit(id: u32, bytes: usize) -> Self {
        Frame::new(Kind::Credit, id, (bytes as u32).to_be_bytes().to_vec())
    }

    /// The body as JSON.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, WireError> {
        serde_json::from_slice(&self.body).map_err(|e| {
            // serde quotes offending values; only say where it was.
            let why = format!("{:?} error at byte {}", e.classify(), e.column());
            WireError::Body { kind: self.kind, why }
        })
    }

    /// The number of a credit frame.
    pub fn parse_credit(&self) -> Result<usize, WireError> {
        match <[u8; 4]>::try_from(self.body.as_slice()) {
            Ok(bytes) => Ok(u32::from_be_bytes(bytes) as usize),
            Err(_) => Err(WireError::Body { kind: self.kind, why: "it is not four bytes long".into() }),
        }
    }

    /// The frame as bytes; a message that is longer than a frame becomes several.
    pub fn encode(&self) -> Vec<u8> {
        let frames = self.body.len() / MAX_BODY + 1;
        let mut bytes = Vec::with_capacity(self.body.len() + frames * HEADER);
        let mut rest = self.body.as_slice();
        while let Some((part, after)) = rest.split_at_checked(MAX_BODY).filter(|(_, after)| !after.is_empty()) {
            bytes.extend_from_slice(&Header { kind: Kind::Part, id: self.id, length: part.len() }.encode());
            bytes.extend_from_slice(part);
            rest = after;
        }
        bytes.extend_from_slice(&Header { kind: self.kind, id: self.id, length: rest.len() }.encode());
        bytes.extend_from_slice(rest);
        bytes
    }
}

/// Puts messages together that came in several frames.
#[derive(Default)]
pub struct Assembler {
    parts: std::collections::HashMap<u32, Vec<u8>>,
    held: usize,
}

impl Assembler {
    /// Takes a frame; gives a message when it is complete.
    pub fn take(&mut self, frame: Frame) -> Result<Option<Frame>, WireError> {
        if frame.kind == Kind::Part {
            self.held += frame.body.len();
            if self.held > MAX_MESSAGE {
                return Err(WireError::MessageTooLong);
            }
            self.parts.entry(frame.id).or_default().extend_from_slice(&frame.body);
            return Ok(None);
        }
        if self.parts.is_empty() {
            return Ok(Some(frame));
        }
        match self.parts.remove(&frame.id) {
            None => Ok(Some(frame)),
            Some(mut whole) => {
                self.held = self.held.saturating_sub(whole.len());
                whole.extend_from_slice(&frame.body);
                Ok(Some(Frame { body: whole, ..frame }))
            }
        }
    }
}

//! Frames over asynchronous streams.

use crate::wire::{Assembler, Frame, HEADER, Header, WireError};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads messages.
pub(super) struct FrameReader<R> {
    input: R,
    assembler: Assembler,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `input`, which must stand behind the magic.
    pub fn new(input: R) -> Self {
        FrameReader { input, assembler: Assembler::default() }
    }

    /// The next message; nothing at the end of the stream. Not cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            let mut header = [0; HEADER];
            let mut filled = 0;
            while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match self.input.read(rest).await? {
                    0 if filled == 0 => return Ok(None),
                    0 => return Err(WireError::Truncated),
                    n => filled += n,
                }
            }
            let header = Header::decode(header)?;
            let mut body = vec![0; header.length];
            self.input.read_exact(&mut body).await.map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => WireError::Truncated,
                _ => WireError::Io(e),
            })?;
            if let Some(frame) = self.assembler.take(Frame { kind: header.kind, id: header.id, body })? {
                return Ok(Some(frame));
            }
        }
    }
}

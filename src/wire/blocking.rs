//! Frames over blocking streams: what the agent uses.

use super::frame::{Assembler, Frame, HEADER, Header, WireError};
use std::io::{ErrorKind, Read, Write};

/// Reads messages.
pub struct FrameReader<R> {
    input: R,
    assembler: Assembler,
}

impl<R: Read> FrameReader<R> {
    /// Reads from `input`, which must stand behind the magic.
    pub fn new(input: R) -> Self {
        FrameReader { input, assembler: Assembler::default() }
    }

    /// The next message; nothing at the end of the stream.
    #[allow(clippy::should_implement_trait)] // it can fail, which an iterator cannot say as plainly
    pub fn next(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            let mut header = [0; HEADER];
            match fill(&mut self.input, &mut header)? {
                0 => return Ok(None),
                HEADER => {}
                _ => return Err(WireError::Truncated),
            }
            let header = Header::decode(header)?;
            let mut body = vec![0; header.length];
            if fill(&mut self.input, &mut body)? != header.length {
                return Err(WireError::Truncated);
            }
            if let Some(frame) = self.assembler.take(Frame { kind: header.kind, id: header.id, body })? {
                return Ok(Some(frame));
            }
        }
    }
}

/// Reads until `buffer` is full or the stream ends; says how much there was.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Writes a message and flushes.
pub fn write_frame(output: &mut impl Write, frame: &Frame) -> std::io::Result<()> {
    output.write_all(&frame.encode())?;
    output.flush()
}

//! The controller as a module on the host sees it: contents and progress over frames.

use crate::modules::{Content, Controller};
use crate::wire::{
    BlobWant, CHUNK, End, Frame, FrameReader, Kind, Progress, UploadOpen, WINDOW, WireError, write_frame,
};
use base64::Engine;
use sha2::{Digest, Sha256};
use std::io::{Cursor, Error, ErrorKind, Read, Result, Write};
use std::time::{Duration, Instant};

/// The two directions of a child's channel.
pub(super) struct Link<R, W> {
    input: FrameReader<R>,
    output: W,
}

impl<R: Read, W: Write> Link<R, W> {
    pub fn new(input: R, output: W) -> Self {
        Link { input: FrameReader::new(input), output }
    }

    pub fn next(&mut self) -> std::result::Result<Option<Frame>, WireError> {
        self.input.next()
    }

    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        write_frame(&mut self.output, frame)
    }

    /// The next message, where the end of the channel is an error.
    fn expect(&mut self) -> Result<Frame> {
        match self.next() {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(Error::new(ErrorKind::ConnectionAborted, "the controller is gone")),
            Err(WireError::Io(error)) => Err(error),
            Err(error) => Err(Error::other(error)),
        }
    }
}

/// What one request may ask of the controller.
pub(super) struct Remote<'a, R, W> {
    id: u32,
    link: &'a mut Link<R, W>,
    last_progress: Option<Instant>,
}

impl<'a, R: Read, W: Write> Remote<'a, R, W> {
    pub fn new(id: u32, link: &'a mut Link<R, W>) -> Self {
        Remote { id, link, last_progress: None }
    }

    fn write<T: serde::Serialize>(&mut self, kind: Kind, message: &T) -> Result<()> {
        let frame = Frame::json(kind, self.id, message).map_err(Error::other)?;
        self.link.write(&frame)
    }
}

impl<R: Read, W: Write> Controller for Remote<'_, R, W> {
    fn open(&mut self, content: &Content) -> Result<Box<dyn Read + '_>> {
        match content {
            Content::Text(text) => Ok(Box::new(Cursor::new(text.clone().into_bytes()))),
            Content::Base64(text) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                Ok(Box::new(Cursor::new(bytes.map_err(|e| Error::new(ErrorKind::InvalidData, e))?)))
            }
            Content::Blob { sha256, size } => {
                self.write(Kind::BlobWant, &BlobWant { sha256: sha256.clone(), size: *size })?;
                Ok(Box::new(Blob {
                    id: self.id,
                    link: self.link,
                    sha256: sha256.clone(),
                    size: *size,
                    seen: 0,
                    hash: Sha256::new(),
                    piece: Cursor::default(),
                    taken: 0,
                    ended: false,
                }))
            }
        }
    }

    fn send(&mut self, name: &str, contents: &mut dyn Read) -> Result<()> {
        self.write(Kind::UploadOpen, &UploadOpen { name: name.to_string() })?;
        let mut free = WINDOW;
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = match contents.read(&mut buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.write(Kind::UploadEnd, &End { error: Some(error.to_string()) })?;
                    return Err(error);
                }
            };
            while free < n {
                let frame = self.link.expect()?;
                match frame.kind {
                    Kind::Credit if frame.id == self.id => free += frame.parse_credit().map_err(Error::other)?,
                    Kind::UploadEnd if frame.id == self.id => {
                        let end: End = frame.parse().map_err(Error::other)?;
                        let why = end.error.unwrap_or_else(|| "no reason was given".into());
                        return Err(Error::other(format!("the controller cannot store `{name}`: {why}")));
                    }
                    _ => {}
                }
            }
            match buffer.get(..n).filter(|piece| !piece.is_empty()) {
                None => return self.write(Kind::UploadEnd, &End::default()),
                Some(piece) => self.link.write(&Frame::new(Kind::Upload, self.id, piece.to_vec()))?,
            }
            free -= n;
        }
    }

    fn progress(&mut self, text: &str, done: Option<u64>, total: Option<u64>) {
        const PAUSE: Duration = Duration::from_millis(200);
        if self.last_progress.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        self.last_progress = Some(Instant::now());
        // Progress that cannot be shown is no reason to stop the work.
        let _ = self.write(Kind::Progress, &Progress { text: text.to_string(), done, total });
    }
}

/// Contents that are being streamed. At their end they must be what was announced.
struct Blob<'a, R: Read, W: Write> {
    id: u32,
    link: &'a mut Link<R, W>,
    sha256: String,
    size: u64,
    seen: u64,
    hash: Sha256,
    piece: Cursor<Vec<u8>>,
    /// Bytes taken that the controller was not told of yet.
    taken: usize,
    ended: bool,
}

impl<R: Read, W: Write> Blob<'_, R, W> {
    /// The next piece, or the checked end.
    fn fetch(&mut self) -> Result<()> {
        let frame = self.link.expect()?;
        match frame.kind {
            Kind::Blob if frame.id == self.id => {
                self.seen += frame.body.len() as u64;
                self.taken += frame.body.len();
                self.hash.update(&frame.body);
                self.piece = Cursor::new(frame.body);
                if self.taken >= WINDOW / 8 {
                    self.link.write(&Frame::credit(self.id, std::mem::take(&mut self.taken)))?;
                }
                Ok(())
            }
            Kind::BlobEnd if frame.id == self.id => {
                self.ended = true;
                let end: End = frame.parse().map_err(Error::other)?;
                if let Some(error) = end.error {
                    return Err(Error::other(format!("the controller cannot send the contents: {error}")));
                }
                if self.seen != self.size || hex(&self.hash.clone().finalize()) != self.sha256 {
                    return Err(Error::new(
                        ErrorKind::InvalidData,
                        "the contents changed on the controller while they were sent",
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read, W: Write> Read for Blob<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let n = self.piece.read(buffer)?;
            if n > 0 || self.ended || buffer.is_empty() {
                return Ok(n);
            }
            self.fetch()?;
        }
    }
}

impl<R: Read, W: Write> Drop for Blob<'_, R, W> {
    // Not read to the end: say so, and take what is under way off the channel.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let Ok(stop) = Frame::json(Kind::BlobEnd, self.id, &End::default()) else { return };
        if self.link.write(&stop).is_err() {
            return;
        }
        while let Ok(frame) = self.link.expect() {
            if frame.kind == Kind::BlobEnd && frame.id == self.id {
                return;
            }
        }
    }
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

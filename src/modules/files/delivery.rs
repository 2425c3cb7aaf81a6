//! Contents that come with a request, or after it.

use super::common::Step;
use crate::machine::files::{Digests, NewContent, Source};
use crate::modules::{Content, Controller, ModuleError};
use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::Read;

/// The name under which the controller half adds a [`Delivery`] to the arguments. Users cannot write it.
const KEY: &str = "_delivery";

/// What the controller half adds to the arguments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::modules) struct Delivery {
    /// The file's name on the controller, for destinations that are directories.
    pub basename: String,
    /// Its contents.
    pub content: Content,
    /// SHA-1 and MD5 of contents that are not inline, in a check: for the return values, since nothing is streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digests: Option<Digests>,
    /// Entries of a directory, instead of contents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Vec<Branch>>,
}

/// An entry of a directory on the controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::modules) struct Branch {
    /// Its path below the destination.
    pub path: String,
    /// What it is.
    pub kind: BranchKind,
}

/// What a [`Branch`] is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::modules) enum BranchKind {
    /// A directory.
    Directory,
    /// A link to this.
    Link(String),
    /// A file.
    File {
        /// Contents.
        content: Content,
        /// Mode of the source, for `mode: preserve`.
        mode: u32,
    },
}

impl Delivery {
    /// Takes the delivery out of the arguments.
    pub fn take(arguments: &mut Map<String, Value>) -> Step<Option<Delivery>> {
        arguments
            .remove(KEY)
            .map(|value| {
                serde_json::from_value(value)
                    .map_err(|e| ModuleError::Failed(format!("the contents in the request are not understood: {e}")))
            })
            .transpose()
    }

    /// Adds it to the arguments.
    #[cfg(feature = "controller")]
    pub fn add(self, arguments: &mut Map<String, Value>) -> Result<(), crate::modules::ActionError> {
        let value = serde_json::to_value(self).map_err(|e| crate::modules::ActionError::Failed(e.to_string()))?;
        arguments.insert(KEY.to_string(), value);
        Ok(())
    }
}

/// Contents, in memory or to be streamed.
pub(in crate::modules) enum Delivered<'a> {
    /// In memory.
    Bytes(Vec<u8>),
    /// Streamed from the controller when the host needs them.
    Stream(Streamed<'a>),
}

/// Contents that the controller streams.
pub(in crate::modules) struct Streamed<'a> {
    content: Content,
    digests: Option<Digests>,
    controller: &'a mut dyn Controller,
}

impl<'a> Delivered<'a> {
    /// Contents of a request.
    pub fn of(content: &Content, digests: Option<&Digests>, controller: &'a mut dyn Controller) -> Step<Delivered<'a>> {
        Ok(match content {
            Content::Text(text) => Delivered::Bytes(text.clone().into_bytes()),
            Content::Base64(text) => Delivered::Bytes(
                base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .map_err(|e| ModuleError::Failed(format!("the contents in the request are no base64: {e}")))?,
            ),
            Content::Blob { .. } => {
                Delivered::Stream(Streamed { content: content.clone(), digests: digests.cloned(), controller })
            }
        })
    }

    /// As what a file shall contain.
    pub fn content(&mut self) -> NewContent<'_> {
        match self {
            Delivered::Bytes(bytes) => NewContent::Bytes(bytes),
            Delivered::Stream(stream) => NewContent::Stream(stream),
        }
    }
}

impl Source for Streamed<'_> {
    fn size(&self) -> u64 {
        if let Content::Blob { size, .. } = &self.content { *size } else { 0 }
    }

    fn sha256(&self) -> &str {
        if let Content::Blob { sha256, .. } = &self.content { sha256 } else { "" }
    }

    fn digests(&self) -> Option<Digests> {
        self.digests.clone()
    }

    fn open(&mut self) -> std::io::Result<Box<dyn Read + '_>> {
        self.controller.open(&self.content)
    }
}

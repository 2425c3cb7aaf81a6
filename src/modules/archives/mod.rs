//! Archives: unpacked, made, and files put together from parts.

mod archive;
mod assemble;
mod tar;
mod unarchive;
mod zip;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[&archive::ARCHIVE, &assemble::ASSEMBLE, &unarchive::UNARCHIVE];

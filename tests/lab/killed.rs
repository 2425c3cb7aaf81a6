//! One cut of a first deployment; the many of `kills` take longer.

use super::faults::{self, kill::Kill};
use super::lab::lab;
use std::time::Duration;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("the site: a first deployment whose connection is killed", first)];

fn first() {
    faults::kills::first_deployment(&lab(), Kill::Connection("galera2"), Duration::from_secs(12));
}

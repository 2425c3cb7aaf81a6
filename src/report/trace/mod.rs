//! A run as a trace, sent to a collector of OpenTelemetry at its end: OTLP over HTTP, in JSON. That it cannot be sent changes
//! nothing about the run, and is said.

mod settings;
mod spans;

pub use settings::Settings;

use super::story::Teller;
use super::{Mask, Reporter};
use crate::http::{self, Trust};
use serde_json::json;

/// Spans in one request: collectors take some megabytes at a time.
const SPANS: usize = 2000;

/// Listens to a run, and sends its trace.
pub struct Tracer {
    settings: Settings,
    teller: Teller,
    run: String,
}

impl Tracer {
    /// Of the run of this name.
    pub fn new(settings: Settings, run: &str, mask: Mask) -> Tracer {
        Tracer { settings, teller: Teller::new(mask), run: run.into() }
    }

    /// Listens to the run.
    pub fn reporter(&self) -> Box<dyn Reporter> {
        Box::new(self.teller.clone())
    }

    /// What must not be shown: tokens in headers, passwords of the address.
    pub fn secrets(&self) -> Vec<String> {
        self.settings.secrets()
    }

    /// Sends it.
    pub async fn send(self) -> Result<(), String> {
        let settings = &self.settings;
        let spans = spans::spans(&self.teller.story(), &self.run, settings.parent.as_ref());
        let trust = Trust { file: settings.ca_file.as_deref(), setting: "OTEL_EXPORTER_OTLP_CERTIFICATE" };
        let post = async {
            for some in spans.chunks(SPANS) {
                let body = json!({"resourceSpans": [{
                    "resource": {"attributes": settings.resource()},
                    "scopeSpans": [{"scope": {"name": "deploy", "version": env!("CARGO_PKG_VERSION")}, "spans": some}],
                }]});
                let body = body.to_string();
                http::post(&settings.url, &settings.headers, trust, body.as_bytes()).await?;
            }
            Ok(())
        };
        let told = |why: String| format!("{}: {why}", settings.url.shown());
        match tokio::time::timeout(settings.timeout, post).await {
            Ok(sent) => sent.map_err(told),
            Err(_) => Err(told(format!("not within {} s", settings.timeout.as_secs_f32()))),
        }
    }
}

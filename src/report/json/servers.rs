//! What servers told of themselves while a run was on.

use serde::Serialize;

use crate::server_metrics::{Outage, Place};
use crate::summary::Summary;

/// One server.
#[derive(Debug, Serialize)]
pub struct ServerDocument {
    /// Where it was asked.
    pub url: String,
    /// How often it answered.
    pub answers: u64,
    /// How often it did not.
    pub failures: u64,
    /// When it did not answer, and why, in seconds since the start of the run.
    pub outages: Vec<Outage>,
    /// When its process had started again.
    pub restarts_s: Vec<f64>,
    /// What it told.
    pub figures: Vec<ServerFigure>,
}

/// A figure of a server.
#[derive(Debug, Serialize)]
pub struct ServerFigure {
    /// What, with its unit last; a share has none.
    pub metric: &'static str,
    /// Mean over the samples of the measured part.
    pub mean: Option<f64>,
    /// Least of them.
    pub min: Option<f64>,
    /// Greatest of them.
    pub max: Option<f64>,
    /// How many.
    pub samples: u64,
    /// The whole run: seconds since its start, and the value.
    pub points: Vec<(f64, f64)>,
}

pub(super) fn servers(summary: &Summary) -> Vec<ServerDocument> {
    summary.server_metrics.iter().map(document).collect()
}

fn document(place: &Place) -> ServerDocument {
    let figures = place.figures.iter().map(|figure| ServerFigure {
        metric: figure.metric.name(),
        mean: figure.mean,
        min: figure.min,
        max: figure.max,
        samples: figure.samples,
        points: figure.points.clone(),
    });
    ServerDocument {
        url: place.url.clone(),
        answers: place.answers,
        failures: place.failures,
        outages: place.outages.clone(),
        restarts_s: place.restarts_s.clone(),
        figures: figures.collect(),
    }
}

//! The two applications that are published, as part of the binary, so that an installed one needs no checkout.

/// One of the applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixture {
    /// The Flask application that the VUs fetch.
    FlaskStocks,
    /// The Plumber application that the publish loop publishes.
    PlumberStocks,
}

/// A file of a bundle: its path with forward slashes, and its bytes.
pub type EmbeddedFile = (&'static str, &'static [u8]);

macro_rules! embed {
    ($folder:literal: $($file:literal),+) => {
        &[$(($file, include_bytes!(concat!("../../fixtures/", $folder, "/", $file)))),+]
    };
}

const FLASK: &[EmbeddedFile] = embed!("flask-stocks": "manifest.json", "README.md", "app.py", "requirements.txt");
const PLUMBER: &[EmbeddedFile] = embed!("plumber-stocks": "manifest.json", "README.md", "plumber.R");

impl Fixture {
    /// Its files, the manifest among them.
    #[must_use]
    pub fn files(self) -> &'static [EmbeddedFile] {
        match self {
            Fixture::FlaskStocks => FLASK,
            Fixture::PlumberStocks => PLUMBER,
        }
    }

    /// The path below the content item that is fetched unless another is asked for.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Fixture::FlaskStocks => "/stocks/AAPL",
            Fixture::PlumberStocks => "/price?ticker=AAPL",
        }
    }

    /// A name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Fixture::FlaskStocks => "Flask Stocks API",
            Fixture::PlumberStocks => "Plumber Stocks API",
        }
    }
}

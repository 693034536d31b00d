//! What a request sends: one buffer for all VUs wherever it has no variables.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use serde_json::Value;

use super::text::{Escape, Names, Text, Values, escaped};
use super::{CompileFault, Given};
use crate::scenario::steps::{Body, FieldContent, Step};
use crate::scenario::template::Template;

/// A body, complete but for its values.
#[derive(Debug)]
pub(super) enum Payload {
    /// The same for all.
    Fixed(Bytes),
    /// Put together for each request.
    Pieces(Vec<Piece>),
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::Fixed(Bytes::new())
    }
}

#[derive(Debug)]
pub(super) enum Piece {
    Text(Text),
    File(Bytes),
}

impl Payload {
    fn of(pieces: Vec<Piece>) -> Payload {
        let fixed = pieces.iter().all(|piece| match piece {
            Piece::Text(text) => text.fixed().is_some(),
            Piece::File(_) => true,
        });
        let payload = Payload::Pieces(pieces);
        if fixed { Payload::Fixed(payload.bytes(&Values::default())) } else { payload }
    }

    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Payload::Fixed(_))
    }

    pub(super) fn bytes(&self, values: &Values) -> Bytes {
        match self {
            Payload::Fixed(bytes) => bytes.clone(),
            Payload::Pieces(pieces) => match pieces.as_slice() {
                [Piece::File(file)] => file.clone(),
                pieces => {
                    let mut out = BytesMut::new();
                    for piece in pieces {
                        match piece {
                            Piece::Text(text) => out.extend_from_slice(text.render(values).as_bytes()),
                            Piece::File(file) => out.extend_from_slice(file),
                        }
                    }
                    out.freeze()
                }
            },
        }
    }
}

/// A step's body and its media type.
pub(super) fn payload(
    step: &Step,
    names: &Names,
    given: &Given,
) -> Result<(Payload, Option<HeaderValue>), CompileFault> {
    let unknown = |name: String| CompileFault::new(&step.name, format!("`${{{name}}}` is unknown"));
    let media = |text: &'static str| Some(HeaderValue::from_static(text));
    let (text, media) = match &step.body {
        Body::None => return Ok((Payload::Fixed(Bytes::new()), None)),
        Body::File(file) => {
            let pieces = vec![Piece::File(self::file(step, file, given)?)];
            return Ok((Payload::of(pieces), media("application/octet-stream")));
        }
        Body::Multipart(_) => return multipart(step, names, given),
        Body::Json(value) => {
            let mut text = Text::default();
            json(value, &mut text, names).map_err(unknown)?;
            (text, media("application/json"))
        }
        Body::Form(fields) => {
            let mut text = Text::default();
            let form = |text: &str| escaped(text, Escape::Form);
            for (at, (name, value)) in fields.iter().enumerate() {
                text.push(&format!("{}{}=", if at == 0 { "" } else { "&" }, form(name)));
                text.push_template(value, names, Escape::Form, form).map_err(unknown)?;
            }
            (text, media("application/x-www-form-urlencoded"))
        }
        Body::Text(template) => (Text::plain(template, names).map_err(unknown)?, media("text/plain; charset=utf-8")),
    };
    Ok((Payload::of(vec![Piece::Text(text)]), media))
}

pub(super) fn file(step: &Step, file: &str, given: &Given) -> Result<Bytes, CompileFault> {
    let found = given.files.get(file).cloned();
    found.ok_or_else(|| CompileFault::new(&step.name, format!("{file}: this file was not read")))
}

/// JSON, its texts being templates.
pub(super) fn json(value: &Value, out: &mut Text, names: &Names) -> Result<(), String> {
    match value {
        Value::String(text) => {
            out.push("\"");
            let template: Template = text.parse().unwrap_or_else(|_| Template::text(text));
            out.push_template(&template, names, Escape::Json, |text| escaped(text, Escape::Json))?;
            out.push("\"");
        }
        Value::Array(values) => {
            out.push("[");
            for (at, value) in values.iter().enumerate() {
                out.push(if at == 0 { "" } else { "," });
                json(value, out, names)?;
            }
            out.push("]");
        }
        Value::Object(values) => {
            out.push("{");
            for (at, (name, value)) in values.iter().enumerate() {
                out.push(if at == 0 { "" } else { "," });
                out.push(&format!("{}:", Value::from(name.as_str())));
                json(value, out, names)?;
            }
            out.push("}");
        }
        other => out.push(&other.to_string()),
    }
    Ok(())
}

fn multipart(step: &Step, names: &Names, given: &Given) -> Result<(Payload, Option<HeaderValue>), CompileFault> {
    let Body::Multipart(fields) = &step.body else { return Ok((Payload::Fixed(Bytes::new()), None)) };
    let unknown = |name: String| CompileFault::new(&step.name, format!("`${{{name}}}` is unknown"));
    let mut contents = Vec::new();
    for field in fields {
        contents.push(match &field.content {
            FieldContent::Value(value) => Piece::Text(Text::plain(value, names).map_err(unknown)?),
            FieldContent::File(name) => Piece::File(file(step, name, given)?),
        });
    }
    let boundary = boundary(&contents);
    let mut pieces = Vec::new();
    for (field, content) in fields.iter().zip(contents) {
        let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", field.name);
        if let Some(filename) = &field.filename {
            head.push_str(&format!("; filename=\"{filename}\""));
        }
        let is_file = matches!(content, Piece::File(_));
        if let Some(media) = field.content_type.as_deref().or(is_file.then_some("application/octet-stream")) {
            head.push_str(&format!("\r\nContent-Type: {media}"));
        }
        head.push_str("\r\n\r\n");
        pieces.extend([Piece::Text(fixed(&head)), content, Piece::Text(fixed("\r\n"))]);
    }
    pieces.push(Piece::Text(fixed(&format!("--{boundary}--\r\n"))));
    let media = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
    Ok((Payload::of(pieces), media.ok()))
}

fn fixed(text: &str) -> Text {
    let mut fixed = Text::default();
    fixed.push(text);
    fixed
}

/// A boundary that stands in none of the contents, as far as they are known.
fn boundary(contents: &[Piece]) -> String {
    let holds = |boundary: &str, piece: &Piece| match piece {
        Piece::Text(text) => text.fixed().is_some_and(|text| text.contains(boundary)),
        Piece::File(file) => file.windows(boundary.len()).any(|window| window == boundary.as_bytes()),
    };
    let mut number = 0x5f3c_91d2_u64;
    loop {
        let boundary = format!("connect-bench-{number:016x}");
        if !contents.iter().any(|piece| holds(&boundary, piece)) {
            return boundary;
        }
        number += 1;
    }
}

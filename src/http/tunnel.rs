//! Through a proxy: the tunnel to an https server (`CONNECT`, RFC 9110 §9.3.6), and who one is there.

use bytes::BufMut as _;
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::attempt::io_kind;
use super::dial::DialFault;
use crate::connection_options::Credentials;
use crate::outcome::ErrorKind;

/// Longest head of a proxy's answer that is read.
const MOST_HEAD: usize = 16 * 1024;
/// Most header fields of it.
const MOST_FIELDS: usize = 64;

/// The value of `Proxy-Authorization`, marked sensitive so that no log prints it.
pub(super) fn proxy_authorization(credentials: &Credentials) -> HeaderValue {
    // Cannot fail: base64 is visible ASCII.
    let mut value = HeaderValue::from_str(credentials.header()).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// What asks a proxy for a tunnel to `host` (with brackets where it is an IPv6 address) and `port`.
pub(super) fn request(host: &str, port: u16, credentials: Option<&Credentials>) -> Vec<u8> {
    let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n");
    if let Some(credentials) = credentials {
        head.push_str(&format!("proxy-authorization: {}\r\n", credentials.header()));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Asks for a tunnel on a connection to a proxy. After it the connection is one to the server.
pub(super) async fn open<S>(stream: &mut S, request: &[u8]) -> Result<(), DialFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let lost = |e: &std::io::Error| fault(format!("{}: {e}", io_kind(e).describe()));
    stream.write_all(request).await.map_err(|e| lost(&e))?;
    let mut head = Vec::with_capacity(256);
    loop {
        if head.len() >= MOST_HEAD {
            return Err(fault("the proxy's answer is too long".to_owned()));
        }
        let read = stream.read_buf(&mut (&mut head).limit(MOST_HEAD)).await.map_err(|e| lost(&e))?;
        if read == 0 {
            return Err(fault("the proxy closed the connection".to_owned()));
        }
        if let Some((status, length)) = status(&head)? {
            return match status {
                // The server speaks after us: what stands behind the head already is none of its.
                200..=299 if length == head.len() => Ok(()),
                200..=299 => Err(fault("the proxy sent more than its answer".to_owned())),
                407 => Err(fault("the proxy wants to know who we are (407)".to_owned())),
                status => Err(fault(format!("the proxy answered {status}"))),
            };
        }
    }
}

/// The status of an answer and the length of its head, once that is complete.
fn status(head: &[u8]) -> Result<Option<(u16, usize)>, DialFault> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head) {
        Ok(httparse::Status::Complete(length)) => Ok(response.code.map(|code| (code, length))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(e) => Err(fault(format!("the proxy's answer is no HTTP: {e}"))),
    }
}

fn fault(detail: String) -> DialFault {
    DialFault { kind: ErrorKind::Proxy, detail }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::connection_options::Proxy;

    async fn answered(answer: &'static [u8]) -> Result<(), String> {
        let (mut ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(answer).await.unwrap();
        let asked = request("h", 1, None);
        let opened = open(&mut ours, &asked).await;
        drop(theirs);
        opened.map_err(|fault| {
            assert_eq!(fault.kind, ErrorKind::Proxy);
            fault.detail
        })
    }

    #[tokio::test]
    async fn only_a_good_answer_opens_a_tunnel() {
        assert_eq!(answered(b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n").await, Ok(()));
        assert!(answered(b"HTTP/1.1 407 No\r\n\r\n").await.unwrap_err().contains("who we are"));
        assert!(answered(b"HTTP/1.0 403 No\r\ncontent-length: 3\r\n\r\nno\n").await.unwrap_err().contains("403"));
        assert!(answered(b"HTTP/1.1 200 OK\r\n\r\nmore").await.unwrap_err().contains("more than its answer"));
        assert!(answered(b"SSH-2.0-x\r\n").await.unwrap_err().contains("no HTTP"));
        let (mut ours, theirs) = duplex(1 << 10);
        drop(theirs);
        assert_eq!(open(&mut ours, b"x").await.unwrap_err().kind, ErrorKind::Proxy);
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut() {
        let (mut ours, mut theirs) = duplex(1 << 10);
        let feeder = tokio::spawn(async move {
            let _ = theirs.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while theirs.write_all(&[b'a'; 100]).await.is_ok() {}
        });
        assert!(open(&mut ours, b"x").await.unwrap_err().detail.contains("too long"));
        drop(ours);
        feeder.await.unwrap();
    }

    #[test]
    fn what_is_asked() {
        let proxy: Proxy = "http://a:b@p:1".parse().unwrap();
        let text = String::from_utf8(request("[::1]", 443, proxy.credentials.as_ref())).unwrap();
        assert_eq!(text, "CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\nproxy-authorization: Basic YTpi\r\n\r\n");
        assert!(proxy_authorization(proxy.credentials.as_ref().unwrap()).is_sensitive());
    }
}

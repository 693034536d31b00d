//! How TLS is spoken on the load path: whom to trust, which versions, which protocols are offered, what is resumed.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::connection_options::{ConnectionOptions, Http2, TlsVersion};

/// What HTTP/2 is called in a TLS handshake (RFC 9113 §3.2).
pub const ALPN_HTTP2: &[u8] = b"h2";
/// Sessions that a VU keeps: it talks to one server.
const SESSIONS: usize = 1;

/// A configuration that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The certificate authorities that were named are missing or are not PEM.
    #[error("{origin}: no certificates can be read from it: {why}")]
    CaCert {
        /// The file, or where the text came from.
        origin: String,
        /// What is wrong.
        why: String,
    },
    /// The system trusts nobody.
    #[error("the system has no trusted certificates: {0}; name a file with --cacert")]
    NoRoots(String),
    /// rustls refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Certificate authorities to trust besides the system's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtraRoots {
    /// A PEM file.
    File(PathBuf),
    /// PEM text.
    Pem(String),
}

impl ExtraRoots {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
        let origin = match self {
            ExtraRoots::File(path) => path.display().to_string(),
            ExtraRoots::Pem(_) => "the certificate saved with the server".to_owned(),
        };
        let read = match self {
            ExtraRoots::File(path) => {
                CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>)
            }
            ExtraRoots::Pem(text) => CertificateDer::pem_slice_iter(text.as_bytes()).collect(),
        };
        match read {
            Ok(certificates) if certificates.is_empty() => {
                Err(TlsFault::CaCert { origin, why: "it holds no certificate".to_owned() })
            }
            Ok(certificates) => Ok(certificates),
            Err(e) => Err(TlsFault::CaCert { origin, why: e.to_string() }),
        }
    }
}

/// TLS as `options` want it, trusting the system's authorities and those of `extra`, or, with `insecure`, anyone.
///
/// Resumes nothing: sessions that all VUs share would make one client of them. See [`resuming`].
///
/// # Errors
/// Where `extra` cannot be read or nobody is trusted.
pub fn config(
    insecure: bool,
    extra: Option<&ExtraRoots>,
    options: &ConnectionOptions,
) -> Result<Arc<ClientConfig>, TlsFault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match options.tls_version {
        TlsVersion::Any => &[&TLS13, &TLS12],
        TlsVersion::Tls12 => &[&TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let mut config = if insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth()
    } else {
        builder.with_root_certificates(roots(extra)?).with_no_client_auth()
    };
    let protocols: &[&[u8]] = match options.http2 {
        Http2::Auto => &[ALPN_HTTP2, b"http/1.1"],
        Http2::Off => &[b"http/1.1"],
        Http2::PriorKnowledge => &[ALPN_HTTP2],
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The same TLS for one VU that resumes its own sessions, as a browser does.
#[must_use]
pub fn resuming(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(config)
}

/// The same TLS for what only HTTP/1.1 can begin.
pub(super) fn only_http1(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn roots(extra: Option<&ExtraRoots>) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    for certificate in extra.map(ExtraRoots::certificates).transpose()?.into_iter().flatten() {
        roots.add(certificate)?;
    }
    if roots.is_empty() {
        let why: Vec<String> = native.errors.iter().map(ToString::to_string).collect();
        return Err(TlsFault::NoRoots(why.join("; ")));
    }
    Ok(roots)
}

/// Believes any certificate: `--insecure`, which the report says.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

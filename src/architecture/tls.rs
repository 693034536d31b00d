//! A certificate for the occasion: an authority of its own, and a server on this machine that it vouches for.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::{Fault, io};

/// Where they were written.
#[derive(Debug)]
pub struct Certificate {
    /// The authority, for clients to trust.
    pub authority: PathBuf,
    /// Certificate and key of the server, in one file as HAProxy wants it.
    pub server: PathBuf,
}

/// Makes both under `root`. The authority's key is not kept.
///
/// # Errors
/// Where they cannot be made or written.
pub fn make(root: &Path) -> Result<Certificate, Fault> {
    let (authority, server, key) =
        generate().map_err(|error| Fault::Asked(format!("cannot make a certificate: {error}")))?;
    let certificate = Certificate { authority: root.join("ca.pem"), server: root.join("haproxy.pem") };
    let write = |file: &Path, text: &str| std::fs::write(file, text).map_err(io(format!("write {}", file.display())));
    write(&certificate.authority, &authority)?;
    write(&certificate.server, &format!("{server}{key}"))?;
    use std::os::unix::fs::PermissionsExt as _;
    let secret = std::fs::set_permissions(&certificate.server, std::fs::Permissions::from_mode(0o600));
    secret.map_err(io("protect the key"))?;
    Ok(certificate)
}

fn generate() -> Result<(String, String, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "connect-bench rehearsal");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let signed = server.signed_by(&key, &authority)?;
    Ok((authority.pem(), signed.pem(), key.serialize_pem()))
}

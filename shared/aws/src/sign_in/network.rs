//! What stands between a person's machine and AWS: a proxy, and one that opens TLS with a certificate of its own.

use std::path::PathBuf;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::SignInError;

/// A file of trusted certificates, and what names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CaBundle {
    pub(super) path: PathBuf,
    pub(super) named_by: String,
}

/// The HTTP client: through the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY say, in either case of letters. A bundle
/// replaces the certificates that the machine trusts, as in the AWS CLI.
pub(super) fn http_client(bundle: Option<CaBundle>, idle_per_host: usize) -> Result<SharedHttpClient, SignInError> {
    let store = match bundle {
        Some(bundle) => trusted(&bundle)?,
        None => TrustStore::default(),
    };
    let tls = TlsContext::builder().with_trust_store(store).build();
    let tls = tls.map_err(|error| SignInError::Tls(error.into()))?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components: Option<&RuntimeComponents>| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector = connector.pool_max_idle_per_host(idle_per_host);
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone()).build()
    }))
}

/// The certificates of a bundle. The HTTP client panics at one that it cannot use, so those are left out here.
fn trusted(bundle: &CaBundle) -> Result<TrustStore, SignInError> {
    let unusable =
        |cause: String| SignInError::CaBundle { path: bundle.path.clone(), named_by: bundle.named_by.clone(), cause };
    let text = std::fs::read_to_string(&bundle.path).map_err(|error| unusable(error.to_string()))?;
    let mut store = TrustStore::empty();
    let mut usable = 0;
    for certificate in certificates(&text) {
        let Ok(parsed) = CertificateDer::from_pem_slice(certificate.as_bytes()) else { continue };
        if RootCertStore::empty().add(parsed).is_ok() {
            store.add_pem_certificate(certificate.as_bytes());
            usable += 1;
        }
    }
    match usable {
        0 => Err(unusable("it has no certificate in PEM form that can be used".to_owned())),
        _ => Ok(store),
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates of a PEM file, each with its first and last line.
fn certificates(text: &str) -> impl Iterator<Item = String> {
    text.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END)).map(|(body, _)| format!("{BEGIN}{body}{END}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Self-signed, made with openssl for this test. Nobody has the key.
    const CERTIFICATE: &str = include_str!("testdata/ca.pem");

    fn bundle(text: &str) -> (tempfile::TempDir, CaBundle) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, text).unwrap();
        (folder, CaBundle { path, named_by: "AWS_CA_BUNDLE".to_owned() })
    }

    #[test]
    fn a_bundle_with_comments_and_a_broken_certificate_is_used_without_that() {
        let (_folder, bundle) = bundle(&format!("# our proxy\n{CERTIFICATE}\n{BEGIN}\nAAAA\n{END}\n"));
        assert!(http_client(Some(bundle), 1).is_ok());
    }

    #[test]
    fn a_bundle_without_a_usable_certificate_is_refused_with_what_names_it() {
        for text in ["", "not PEM", &format!("{BEGIN}\nAAAA\n{END}\n")] {
            let (_folder, bundle) = bundle(text);
            let refusal = http_client(Some(bundle), 1).unwrap_err().to_string();
            assert!(refusal.contains("AWS_CA_BUNDLE") && refusal.contains("no certificate"), "{refusal}");
        }
    }

    #[test]
    fn a_bundle_that_does_not_exist_is_named() {
        let bundle = CaBundle { path: "/nowhere/ca.pem".into(), named_by: "ca_bundle of the profile audit".to_owned() };
        let refusal = http_client(Some(bundle), 1).unwrap_err().to_string();
        assert!(refusal.contains("/nowhere/ca.pem") && refusal.contains("ca_bundle of the profile audit"), "{refusal}");
    }
}

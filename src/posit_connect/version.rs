//! Connect's version, `2025.06.0-dev+12-gabc`, as far as decisions need it.

/// Year, month and patch of a Connect release. An order of releases is the order of these three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectVersion {
    /// Year, 2025.
    pub year: u32,
    /// Month, 6.
    pub month: u32,
    /// Patch, 0.
    pub patch: u32,
}

impl ConnectVersion {
    /// Reads a version; `None` where the server hides it (an empty text) or it is of another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<ConnectVersion> {
        let text = text.trim().trim_start_matches('v');
        let numbers = text.split(['-', '+', ' ']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        let year = parts.next()??;
        let month = parts.next()??;
        // Versions before the calendar ones have the form 1.9.0; a missing patch is none.
        let patch = parts.next().flatten().unwrap_or(0);
        Some(ConnectVersion { year, month, patch })
    }
}

impl std::fmt::Display for ConnectVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}.{}", self.year, self.month, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let version = ConnectVersion::parse("2025.06.0-dev+12-gabc").unwrap();
        assert_eq!(version, ConnectVersion { year: 2025, month: 6, patch: 0 });
        assert_eq!(version.to_string(), "2025.06.0");
        assert!(ConnectVersion::parse("2024.09.0").unwrap() < version);
        assert!(ConnectVersion::parse("2025.06.1").unwrap() > version);
        assert!(ConnectVersion::parse("1.9.0").unwrap() < version);
        assert_eq!(ConnectVersion::parse("v2025.06"), Some(version));
    }

    #[test]
    fn a_hidden_or_odd_version_is_none() {
        for text in ["", " ", "unknown", "2025", "2025.x.1", "99999999999.1.1", "2025..1", "-", "+"] {
            assert_eq!(ConnectVersion::parse(text), None, "{text:?}");
        }
    }
}

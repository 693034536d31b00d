//! Closed queueing networks with a known answer: convolution in the log domain (Buzen, 1973), and bounds.
//!
//! What forecasts and simulations are held against. The textbook's mean value analysis of multi-server stations is
//! unstable (it yields negative throughput with 128 customers at 8 servers); convolution in logarithms is not.

/// A station of a product-form network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Station {
    /// Service time per request, all visits together, seconds; greater than 0.
    pub demand_s: f64,
    /// Parallel servers, at least 1.
    pub servers: u32,
}

/// Stations that every request visits, and users who think between requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The stations.
    pub stations: Vec<Station>,
    /// Mean think time, seconds; may be 0.
    pub think_s: f64,
}

impl Network {
    /// Requests per second with 1, 2, … `customers`.
    #[must_use]
    pub fn throughput(&self, customers: u32) -> Vec<f64> {
        let count = customers as usize;
        // ln G(n) of the network so far; at first that of the think time alone: Z^n / n!.
        let mut normal = vec![f64::NEG_INFINITY; count + 1];
        normal[0] = 0.0;
        if self.think_s > 0.0 {
            for n in 1..=count {
                normal[n] = normal[n - 1] + self.think_s.ln() - (n as f64).ln();
            }
        }
        for station in &self.stations {
            let mut own = vec![0.0; count + 1];
            for n in 1..=count {
                own[n] = own[n - 1] + station.demand_s.ln() - (n as f64).min(f64::from(station.servers)).ln();
            }
            normal = (0..=count).map(|n| log_sum((0..=n).map(|k| normal[n - k] + own[k]))).collect();
        }
        (1..=count).map(|n| (normal[n - 1] - normal[n]).exp()).collect()
    }

    /// Bounds on throughput with `customers` and single-server stations: (lower, upper), requests per second.
    /// Asymptotic bounds: N/(N·ΣD + Z) ≤ X ≤ min(N/(ΣD + Z), 1/D_max).
    #[must_use]
    pub fn asymptotic_bounds(&self, customers: u32) -> (f64, f64) {
        let n = f64::from(customers);
        let all: f64 = self.stations.iter().map(|s| s.demand_s).sum();
        let most = self.stations.iter().map(|s| s.demand_s / f64::from(s.servers)).fold(0.0, f64::max);
        (n / (n * all + self.think_s), (n / (all + self.think_s)).min(1.0 / most))
    }
}

/// ln Σ exp.
fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY { most } else { most + values.map(|v| (v - most).exp()).sum::<f64>().ln() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference;
    use serde_json::Value;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    }

    fn single(demands: &[f64], think_s: f64) -> Network {
        Network { stations: demands.iter().map(|d| Station { demand_s: *d, servers: 1 }).collect(), think_s }
    }

    fn published() -> Option<Value> {
        reference("mva_expected.json").map(|text| serde_json::from_str(&text).unwrap())
    }

    /// Jain, The Art of Computer Systems Performance Analysis, example 34.
    #[test]
    fn jains_table() {
        let Some(published) = published() else { return };
        let jain = &published["jain_34"];
        let demands: Vec<f64> = numbers(&jain["S"]).iter().zip(numbers(&jain["V"])).map(|(s, v)| s * v).collect();
        let network = single(&demands, 4.0);
        let got = network.throughput(20);
        for (n, row) in jain["table_octave_queueing"].as_array().unwrap().iter().enumerate() {
            assert!((got[n] - row["X"].as_f64().unwrap()).abs() < 6e-7, "{n}: {}", got[n]);
            let response = (n as f64 + 1.0) / got[n] - 4.0;
            assert!((response - row["R"].as_f64().unwrap()).abs() < 6e-6, "{n}: {response}");
        }
    }

    #[test]
    fn the_demonstrations_of_pdq_and_many_servers() {
        let Some(published) = published() else { return };
        for name in ["mm1n", "ebiz_3tier"] {
            let demo = &published["pdq_demos_exact"][name];
            let customers = u32::try_from(demo["N"].as_u64().unwrap()).unwrap();
            let network = single(&numbers(&demo["D"]), demo["Z"].as_f64().unwrap());
            let got = *network.throughput(customers).last().unwrap();
            assert!((got / demo["X"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{name}: {got}");
        }
        let prefork: Vec<f64> = std::iter::once(0.0109).chain([0.0044 / 16.0; 16]).collect();
        let want = numbers(&published["pdq_demos_exact"]["httpd_prefork"]["X_1_to_5"]);
        for (got, want) in single(&prefork, 0.0).throughput(5).iter().zip(want) {
            assert!((got / want - 1.0).abs() < 1e-9, "{got} is not {want}");
        }
        let closed = &published["mmc_closed"];
        let network = Network { stations: vec![Station { demand_s: 0.02, servers: 8 }], think_s: 0.05 };
        let got = network.throughput(250);
        for (n, want) in closed["X"].as_object().unwrap() {
            let got = got[n.parse::<usize>().unwrap() - 1];
            assert!((got / want.as_f64().unwrap() - 1.0).abs() < 1e-9, "{n}: {got}");
        }
    }

    /// Bolch et al., Queueing Networks and Markov Chains, example 9.6.
    #[test]
    fn published_bounds() {
        let Some(published) = published() else { return };
        let bolch = &published["bolch_9_6_bounds"];
        let network = single(&numbers(&bolch["D"]), 120.0);
        let (low, high) = network.asymptotic_bounds(20);
        assert!((low - bolch["full_octave"]["X_lower"].as_f64().unwrap()).abs() < 1e-6, "{low}");
        assert!((high - bolch["full_octave"]["X_upper"].as_f64().unwrap()).abs() < 1e-6, "{high}");
        assert!((20.0 / high - 120.0 - 64.0).abs() < 1e-9);
        // The exact answers of the geometric bounds' table.
        let table = &published["geometric_bounds_tableIV"];
        let network = single(&numbers(&table["D"]), 0.0);
        for row in table["rows"].as_array().unwrap() {
            let n = u32::try_from(row["N"].as_u64().unwrap()).unwrap();
            let got = network.throughput(n)[n as usize - 1];
            assert!((got / row["exact_mva"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{n}: {got}");
            let (low, high) = network.asymptotic_bounds(n);
            assert!(low <= got && got <= high);
        }
    }
}

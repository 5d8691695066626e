//! The partitions of AWS, and the domains of their services.
//!
//! The table is that of `partitions.json`, which all SDKs of AWS share.

/// A group of regions whose services have the same domains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Partition {
    /// With what the names of its regions begin.
    regions: &'static str,
    /// The domain of its services.
    pub domain: &'static str,
    /// The domain of the same services that can also be reached by IPv6.
    pub dual_stack: &'static str,
}

/// Where all other regions are, those of `GovCloud` included.
const COMMERCIAL: Partition =
    Partition { regions: "", domain: "amazonaws.com", dual_stack: "api.aws" };

const OTHERS: [Partition; 6] = [
    Partition {
        regions: "cn-",
        domain: "amazonaws.com.cn",
        dual_stack: "api.amazonwebservices.com.cn",
    },
    Partition { regions: "eusc-", domain: "amazonaws.eu", dual_stack: "api.amazonwebservices.eu" },
    Partition { regions: "us-iso-", domain: "c2s.ic.gov", dual_stack: "api.aws.ic.gov" },
    Partition { regions: "us-isob-", domain: "sc2s.sgov.gov", dual_stack: "api.aws.scloud" },
    Partition {
        regions: "eu-isoe-",
        domain: "cloud.adc-e.uk",
        dual_stack: "api.cloud-aws.adc-e.uk",
    },
    Partition { regions: "us-isof-", domain: "csp.hci.ic.gov", dual_stack: "api.aws.hci.ic.gov" },
];

impl Partition {
    /// The partition that a region belongs to.
    pub fn of(region: &str) -> Self {
        let found = OTHERS.into_iter().find(|partition| region.starts_with(partition.regions));
        found.unwrap_or(COMMERCIAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_in_one_partition() {
        for (region, wanted) in [
            ("eu-west-1", "amazonaws.com"),
            ("us-gov-east-1", "amazonaws.com"),
            ("mx-central-1", "amazonaws.com"),
            ("cn-northwest-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
            ("us-iso-west-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eu-isoe-west-1", "cloud.adc-e.uk"),
            ("us-isof-south-1", "csp.hci.ic.gov"),
        ] {
            assert_eq!(Partition::of(region).domain, wanted, "{region}");
        }
    }
}

//! What each call of the operators' service needs: one table. A call that is not in it is refused, so that
//! nobody can forget it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an operator may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorRole {
    /// Reads what the mesh watches and sees.
    Viewer,
    /// Changes what is watched and who is told, and has agents probe.
    Operator,
    /// Says who belongs to the mesh, and takes all of it away as a backup.
    Admin,
}

impl fmt::Display for OperatorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// Calls by name with the role that each needs.
macro_rules! calls {
    ($($call:ident: $role:ident,)*) => {
        /// A call of the operators' service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Call {
            $(
                #[doc = concat!("`Operator.", stringify!($call), "`.")]
                $call,
            )*
        }

        impl Call {
            /// Every call.
            pub const ALL: &[Self] = &[$(Self::$call,)*];

            /// Its name in `mesh.v1`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$call => stringify!($call),)*
                }
            }

            /// The role that it needs at least.
            #[must_use]
            pub const fn needs(self) -> OperatorRole {
                match self {
                    $(Self::$call => OperatorRole::$role,)*
                }
            }
        }
    };
}

calls! {
    Status: Viewer,
    ListAgents: Viewer,
    GetAgent: Viewer,
    RehearseService: Viewer,
    ListServices: Viewer,
    GetService: Viewer,
    Watch: Viewer,
    History: Viewer,
    ListVerdicts: Viewer,
    GetVerdict: Viewer,
    ExportCase: Viewer,
    Report: Viewer,
    Coverage: Viewer,
    Mended: Viewer,
    ListSilences: Viewer,
    ListOperators: Viewer,
    // Of the caller's own certificate.
    RenewOperator: Viewer,
    ApplyService: Operator,
    DeleteService: Operator,
    CheckService: Operator,
    Localize: Operator,
    MakeSilence: Operator,
    EndSilence: Operator,
    TryNotify: Operator,
    ListActs: Operator,
    VerifyActs: Operator,
    CreateToken: Admin,
    RejoinAgent: Admin,
    RenameAgent: Admin,
    RevokeAgent: Admin,
    DeleteAgent: Admin,
    Backup: Admin,
    CreateOperator: Admin,
    ChangeOperator: Admin,
    RevokeOperator: Admin,
}

impl Call {
    /// The call of a request's path (`/mesh.v1.Operator/Status`).
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        let name = path.strip_prefix("/mesh.v1.Operator/")?;
        Self::ALL.iter().copied().find(|call| call.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    /// `google.protobuf.FileDescriptorSet`, as far as it is read here.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Files {
        #[prost(message, repeated, tag = "1")]
        files: Vec<File>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct File {
        #[prost(message, repeated, tag = "6")]
        services: Vec<Service>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Service {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, repeated, tag = "2")]
        methods: Vec<Method>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Method {
        #[prost(string, tag = "1")]
        name: String,
    }

    #[test]
    fn every_method_of_the_service_has_a_role() {
        let files = Files::decode(proto::DESCRIPTOR_SET).unwrap().files;
        let services = files.into_iter().flat_map(|file| file.services);
        let operator = services.filter(|service| service.name == "Operator");
        let methods: BTreeSet<String> = operator
            .flat_map(|service| service.methods)
            .map(|method| method.name)
            .collect();
        let calls: BTreeSet<String> = Call::ALL.iter().map(|call| call.name().into()).collect();
        assert_eq!(methods, calls);
        assert!(!methods.is_empty());
    }

    #[test]
    fn calls_are_known_by_their_whole_path() {
        let rows = [
            ("/mesh.v1.Operator/Backup", Some(Call::Backup)),
            ("/mesh.v1.Operator/backup", None),
            ("/mesh.v1.Operator/", None),
            ("/mesh.v1.Enrolment/Join", None),
            ("Backup", None),
        ];
        for (path, call) in rows {
            assert_eq!(Call::at(path), call, "{path}");
        }
        assert!(OperatorRole::Viewer < OperatorRole::Operator);
        assert!(OperatorRole::Operator < OperatorRole::Admin);
    }
}

//! The program as its users meet it: started as a process on free ports, asked by its command line, killed, restarted.

#[path = "../../../audit/tests/suite/api_server.rs"]
mod api_server;
mod audit;
mod audit_cluster;
mod audit_shipped;
mod command_line;
mod firewall;
#[path = "../../../net/tests/enforce/namespace.rs"]
mod namespace;
mod packaging;
mod server;
mod support;

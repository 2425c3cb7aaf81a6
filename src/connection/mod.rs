//! Ways to a host: ssh, local, jump chains, known hosts, become, agent bootstrap.

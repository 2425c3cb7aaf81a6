apt-get install -qy procps >/dev/null 2>&1; touch /etc/sysctl.conf

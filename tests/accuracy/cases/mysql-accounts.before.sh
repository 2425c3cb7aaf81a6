DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends mariadb-server >/dev/null
mariadb -e "create database old; create table old.t (a int); create user 'old'@'%' identified by 'old-password'; grant select on old.* to 'old'@'%'"
while ls /tmp/tmp.* >/dev/null 2>&1; do sleep 0.3; done   # what the server does after its start

mkdir -p /srv/tree/b/c; echo a > /srv/tree/a; echo d > /srv/tree/b/c/d; chmod 777 /srv/tree/b/c/d; ln -s a /srv/tree/l

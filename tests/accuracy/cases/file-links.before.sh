echo old > /srv/old

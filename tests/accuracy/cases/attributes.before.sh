echo f > /srv/f

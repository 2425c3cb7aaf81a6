printf 'a\nb\n' > /srv/f

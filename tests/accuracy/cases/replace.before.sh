printf 'a1 a2\ntwo\nthree\nfour e\n' > /srv/f

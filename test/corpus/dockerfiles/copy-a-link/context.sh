echo a > a; ln -s a l

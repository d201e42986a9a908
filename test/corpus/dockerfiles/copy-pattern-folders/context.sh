mkdir d1 d2; echo 1 > d1/1; echo 2 > d2/2

mkdir d; echo f > d/f; echo a > a

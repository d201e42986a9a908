echo a > xa; echo c > xc; echo d > xd

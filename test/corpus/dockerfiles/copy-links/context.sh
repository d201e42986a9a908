mkdir d; echo f > d/f; ln -s f d/l; ln -s ../../etc/passwd d/up; ln -s /nowhere d/abs

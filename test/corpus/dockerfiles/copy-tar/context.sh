echo no tar at all > t

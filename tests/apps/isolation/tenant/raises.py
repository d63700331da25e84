from name import NAME

raise ValueError(NAME)

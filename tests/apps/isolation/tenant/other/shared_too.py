from name import NAME as NAME

"""Flask and SQLAlchemy: tables of the same names, each in its own database."""

import os

from flask import Flask, jsonify, request
from name import NAME
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.schema import ForeignKey

PATH = os.path.join(os.environ["TMPDIR"], "shop.sqlite")
engine = create_engine(f"sqlite:///{PATH}")


class Base(DeclarativeBase): ...


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(default=NAME)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")


Base.metadata.create_all(engine)
app = Flask(__name__)


@app.post("/orders")
def order():
    with Session(engine) as session:
        customer = Customer(name=request.get_json()["customer"])
        session.add(Order(customer=customer))
        session.commit()
    return "", 201


@app.get("/orders")
def orders():
    with Session(engine) as session:
        return jsonify(
            [[each.owner, each.customer.name] for each in session.scalars(select(Order))]
        )

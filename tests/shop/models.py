"""A shop with something of everything that a model can be."""

import uuid
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F
from django.db.models.functions import Upper


class CategoryManager(models.Manager["Category"]):
    def get_by_natural_key(self, slug: str) -> "Category":
        return self.get(slug=slug)


class Category(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=50)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children"
    )

    objects = CategoryManager()

    class Meta:
        app_label = "shop"
        verbose_name_plural = "categories"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=30, primary_key=True)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        SOLD = "sold", "On sale"
        GONE = "gone", "No longer sold"

    name = models.CharField(max_length=100)
    sku = models.CharField("stock keeping unit", max_length=20, unique=True)
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    price = models.DecimalField(
        max_digits=8,
        decimal_places=2,
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text="With tax.",
    )
    stock = models.PositiveIntegerField(default=0, validators=[MaxValueValidator(9999)])
    weight = models.FloatField(null=True, blank=True)
    category = models.ForeignKey(
        Category, on_delete=models.PROTECT, related_name="products"
    )
    tags = models.ManyToManyField(Tag, blank=True, related_name="products")
    details = models.JSONField(default=dict, blank=True)
    released_on = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    purchase_price = models.DecimalField(
        max_digits=8, decimal_places=2, default=Decimal(0)
    )
    internal_note = models.TextField(blank=True)
    value = models.GeneratedField(
        expression=F("price") * F("stock"),
        output_field=models.DecimalField(max_digits=12, decimal_places=2),
        db_persist=True,
    )

    class Meta:
        app_label = "shop"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def is_available(self) -> bool:
        """Whether it can be bought now."""
        return self.state == self.State.SOLD and self.stock > 0


class Customer(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    name = models.CharField(max_length=50)
    email = models.EmailField(blank=True)
    api_token = models.CharField(max_length=50, blank=True)

    class Meta:
        app_label = "shop"
        constraints = (
            models.UniqueConstraint(
                fields=("owner", "name"), name="shop_customer_once"
            ),
        )

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    customer = models.ForeignKey(
        Customer, on_delete=models.CASCADE, related_name="orders"
    )
    placed_at = models.DateTimeField()
    is_paid = models.BooleanField(default=False)
    gift_wrapped = models.BooleanField(default=True)

    class Meta:
        app_label = "shop"
        ordering = ("-placed_at",)

    def __str__(self) -> str:
        return f"Order {self.pk}"


class Line(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="lines")
    count = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"{self.count} x {self.product_id}"


class Remark(models.Model):
    """About a row of any model."""

    content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE)
    object_id = models.CharField(max_length=50)
    subject = GenericForeignKey("content_type", "object_id")
    text = models.TextField()
    file = models.FileField(upload_to="remarks", blank=True)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return self.text


class PresentManager(models.Manager[Any]):
    def get_queryset(self) -> Any:
        return super().get_queryset().filter(is_deleted=False)


class Letter(models.Model):
    """Is marked, not deleted."""

    subject = models.CharField(max_length=50)
    is_deleted = models.BooleanField(default=False, editable=False)

    objects = PresentManager()

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return self.subject

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        self.is_deleted = True
        self.save()
        return 1, {}


class Coupon(models.Model):
    """Has a key that is chosen, and is marked, not deleted."""

    code = models.CharField(max_length=10, primary_key=True)
    percent = models.PositiveSmallIntegerField(default=5)
    is_deleted = models.BooleanField(default=False, editable=False)

    objects = PresentManager()

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return self.code


class Book(Product):
    """Inherits the table of Product."""

    isbn = models.CharField(max_length=13)

    class Meta:
        app_label = "shop"


class Offer(Product):
    """A proxy."""

    class Meta:
        app_label = "shop"
        proxy = True


class Seat(models.Model):
    """Has a key of two columns."""

    pk = models.CompositePrimaryKey("row", "number")
    row = models.CharField(max_length=2)
    number = models.PositiveSmallIntegerField()
    guest = models.CharField(max_length=50, blank=True)
    customer = models.ForeignKey(
        Customer, null=True, blank=True, on_delete=models.CASCADE, related_name="seats"
    )

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"{self.row}{self.number}"


class Supplier(models.Model):
    """Is referred to by its code."""

    code = models.SlugField(unique=True)
    is_active = models.BooleanField(default=True)
    friends = models.ManyToManyField("self", blank=True)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return self.code


class Delivery(models.Model):
    """Has what the database fills in, what is chosen by a rule, and what is timed."""

    supplier = models.ForeignKey(
        Supplier,
        to_field="code",
        on_delete=models.CASCADE,
        related_name="deliveries",
        limit_choices_to={"is_active": True},
    )
    helpers = models.ManyToManyField(
        Supplier, blank=True, limit_choices_to={"is_active": True}, related_name="+"
    )
    title = models.CharField(max_length=30, unique_for_date="day")
    day = models.DateField()
    state = models.CharField(max_length=10, db_default="open")
    slot = models.TimeField(null=True, blank=True)
    takes = models.DurationField(null=True, blank=True)
    arrived_at = models.DateTimeField(null=True, blank=True)
    extra = models.JSONField(null=True, blank=True)
    photo = models.FileField(upload_to="deliveries", null=True, blank=True)
    products = models.ManyToManyField(
        Product, through="Item", related_name="deliveries"
    )

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return self.title


class Item(models.Model):
    """A link with something to say of itself."""

    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, related_name="items"
    )
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="+")
    count = models.PositiveSmallIntegerField()

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"{self.count} x {self.product_id}"


class Invoice(models.Model):
    """Belongs to one delivery, and has rules."""

    delivery = models.OneToOneField(
        Delivery, on_delete=models.CASCADE, related_name="invoice"
    )
    total = models.IntegerField()
    paid = models.IntegerField(default=0)

    class Meta:
        app_label = "shop"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(total__gte=0), name="shop_secret_rule"
            ),
            models.CheckConstraint(
                condition=models.Q(paid__lte=F("total")),
                name="shop_invoice_paid",
                violation_error_message="It cannot be paid twice.",
            ),
        )

    def __str__(self) -> str:
        return f"Invoice {self.pk}"


class Sample(models.Model):
    """Has a field of every kind."""

    class Size(models.IntegerChoices):
        SMALL = 1, "Small"
        LARGE = 2, "Large"

    key = models.UUIDField(default=uuid.uuid4)
    text = models.TextField(blank=True)
    slug = models.SlugField(blank=True)
    email = models.EmailField(blank=True)
    url = models.URLField(blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    path = models.FilePathField(path="/", blank=True)
    flag = models.BooleanField(null=True, blank=True)
    size = models.SmallIntegerField(choices=Size, null=True, blank=True)
    big = models.BigIntegerField(null=True, blank=True)
    ratio = models.FloatField(null=True, blank=True)
    amount = models.DecimalField(max_digits=20, decimal_places=6, null=True, blank=True)
    day = models.DateField(null=True, blank=True)
    moment = models.DateTimeField(null=True, blank=True)
    clock = models.TimeField(null=True, blank=True)
    span = models.DurationField(null=True, blank=True)
    data = models.JSONField(null=True, blank=True)
    blob = models.BinaryField(null=True, blank=True)
    document = models.FileField(upload_to="samples", blank=True)
    shouted = models.GeneratedField(
        expression=Upper("text"), output_field=models.TextField(), db_persist=True
    )

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"Sample {self.pk}"

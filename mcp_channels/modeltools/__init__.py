"""
Django models as tools and resources.

    @register(Product)
    class ProductTools(ModelTools):
        fields = ["name", "price"]

options.py says what a site can say, allowlist.py which names exist, exposure.py what is
made of it, and operations.py what an agent may do.
"""
